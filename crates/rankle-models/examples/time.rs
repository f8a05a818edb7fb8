use candle_core::{Tensor,Device};use rankle_core::*;use rankle_models::C2f2;use std::time::Instant;
fn med(name:&str, mut f: impl FnMut()){f();f();let mut t=vec![];for _ in 0..20{let a=Instant::now();f();t.push(a.elapsed().as_secs_f64()*1e3);}t.sort_by(f64::total_cmp);println!("{name}: med {:.2} min {:.2}",t[10],t[0]);}
fn main(){
 let nt:usize=std::env::args().nth(1).unwrap().parse().unwrap(); rayon::ThreadPoolBuilder::new().num_threads(nt).build_global().unwrap();
 let mut m=C2f2::initialise(Distance::Cosine,Seed(0));
 let what=std::env::args().nth(2).unwrap_or_default(); for n in [100,1000]{ let x=Tensor::rand(0f32,1.,(n,1,28,28),&Device::Cpu).unwrap(); let mask=Tensor::cat(&[Tensor::zeros((n,1,6,28),candle_core::DType::F32,&Device::Cpu).unwrap(),Tensor::ones((n,1,16,28),candle_core::DType::F32,&Device::Cpu).unwrap(),Tensor::zeros((n,1,6,28),candle_core::DType::F32,&Device::Cpu).unwrap()],2).unwrap(); let x=(x*mask).unwrap(); let z=Tensor::rand(-1f32,1.,(n,1024),&Device::Cpu).unwrap();
 if what.contains("f") {med(&format!("fwd {n}"),||{m.embed(&x).unwrap();});}
 if what.contains("p") {med(&format!("pgd {n}"),||{m.input_gradient(&x,&mut |_|Ok(z.clone())).unwrap();});}
 let a=AdamStep{learning_rate:1e-5,beta1:0.9,beta2:0.999,epsilon:1e-8,weight_decay:1e-7,step:1};
 if what.contains("t") {med(&format!("train {n}"),||{m.train_step(&x,&mut |_|Ok(z.clone()),&a).unwrap();});}}
}
